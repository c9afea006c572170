/* What the containers of the bench run: a static program that ends at once. */
int main(void)
{
    return 0;
}
